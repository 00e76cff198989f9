// Draws an OBJ, STL or PLY of an event: its form without materials, lit from where one looks from, to be turned and moved.
import { AmbientLight, Box3, Color, DirectionalLight, DoubleSide, Mesh, MeshStandardMaterial, PerspectiveCamera, Scene, Vector3, WebGLRenderer } from "./three.module.min.js";
import { OBJLoader } from "./three.OBJLoader.js";
import { OrbitControls } from "./three.OrbitControls.js";
import { PLYLoader } from "./three.PLYLoader.js";
import { STLLoader } from "./three.STLLoader.js";

const plain = () => new MeshStandardMaterial({ color: 0xb9b4a8, roughness: 0.7, side: DoubleSide });

function mesh(geometry) {
  if (!geometry.attributes.normal) geometry.computeVertexNormals();
  return new Mesh(geometry, plain());
}

async function read(place) {
  const response = await fetch(place.dataset.src);
  if (!response.ok) throw new Error((await response.json()).detail);
  if (place.dataset.mesh === "stl") return mesh(new STLLoader().parse(await response.arrayBuffer()));
  if (place.dataset.mesh === "ply") return mesh(new PLYLoader().parse(await response.arrayBuffer()));
  const group = new OBJLoader().parse(await response.text());
  group.traverse((part) => {
    if (!part.isMesh) return;
    if (!part.geometry.attributes.normal) part.geometry.computeVertexNormals();
    part.material = plain();
  });
  return group;
}

async function draw(place) {
  const object = await read(place);
  const box = new Box3().setFromObject(object);
  if (box.isEmpty()) throw new Error("there is nothing in it.");
  const middle = box.getCenter(new Vector3());
  const radius = box.getSize(new Vector3()).length() / 2 || 1;
  object.position.sub(middle);
  const scene = new Scene();
  scene.background = new Color(getComputedStyle(place).backgroundColor);
  const camera = new PerspectiveCamera(40, 1, radius / 100, radius * 100);
  const light = new DirectionalLight(0xffffff, 2.2);
  light.position.set(0.5, 1, 1);
  camera.add(light);
  scene.add(object, camera, new AmbientLight(0xffffff, 0.9));
  camera.position.set(0.6, 0.5, 1).setLength(radius * 3.1);

  const renderer = new WebGLRenderer({ antialias: true });
  const controls = new OrbitControls(camera, renderer.domElement);
  const show = () => renderer.render(scene, camera);
  controls.addEventListener("change", show);
  place.addEventListener("keydown", (event) => {
    const turns = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, -0.2], ArrowDown: [0, 0.2] }[event.key];
    const nearer = { "+": 0.9, "-": 1.1 }[event.key];
    if (!turns && !nearer) return;
    event.preventDefault();
    if (nearer) camera.position.multiplyScalar(nearer);
    if (turns) {
      camera.position.applyAxisAngle(new Vector3(0, 1, 0), turns[0]);
      camera.position.applyAxisAngle(new Vector3(1, 0, 0).applyQuaternion(camera.quaternion), turns[1]);
    }
    controls.update();
    show();
  });
  place.replaceChildren(renderer.domElement);
  new ResizeObserver(() => {
    renderer.setPixelRatio(devicePixelRatio);
    renderer.setSize(place.clientWidth, place.clientHeight);
    camera.aspect = place.clientWidth / place.clientHeight;
    camera.updateProjectionMatrix();
    controls.update();
    show();
  }).observe(place);
}

for (const place of document.querySelectorAll("[data-mesh]"))
  draw(place).catch((error) => {
    place.className = "note";
    place.removeAttribute("tabindex");
    place.textContent = `It cannot be drawn: ${error.message}`;
  });
