// The page's program: Uppy as its pages show it. What the one who drives the browser does with it stands in browser.mjs.
import Uppy from '@uppy/core'
import Tus from '@uppy/tus'

const uppy = new Uppy({ autoProceed: false }).use(Tus, { endpoint: '/uploads', parallelUploads: 4 })
document.querySelector('input').addEventListener('change', (event) => {
  for (const file of event.target.files) uppy.addFile({ name: file.name, type: file.type, data: file })
})
window.uppy = uppy
