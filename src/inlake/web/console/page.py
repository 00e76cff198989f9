"""A page: its template, its headers, who looks at it, and the form that it sends back."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, wraps
from importlib.resources import files
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from inlake.access.rights import ACTIONS
from inlake.errors import BadParameter, BodyTooLarge, Forbidden, InlakeError, RouteNotFound
from inlake.web.request.exchange import Exchange
from inlake.web.request.route import Handler
from inlake.web.request.session import TOKEN, is_of_our_page, new_token, set_cookie, token_of
from inlake.wiring import Deployment

HTML = b"text/html; charset=utf-8"
FORM_BYTES = 8 << 20
FORM_FIELDS = 2_000
KEY_BYTES = 4 << 10
"""The most bytes of the forms that nobody has to be signed in for."""
TYPES = {
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
    "txt": b"text/plain; charset=utf-8",
}
POLICY = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self'{styles}; img-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
MODEL_SCRIPTS = " 'wasm-unsafe-eval'"
"""Sources that a page with a 3D model needs more: decoders of meshes are WebAssembly."""
MODEL_STYLES = " 'sha256-PXtZZkJMMyc18o/DN1ZEFOJ2qEGq95IQbVaJFMOXOb0='"
"""The style sheet that model-viewer 4.4.0 puts into its own shadow tree; without it nothing of it has a size."""
PLAIN_POLICY, MODEL_POLICY = (
    POLICY.format(scripts="", styles=""),
    POLICY.format(scripts=MODEL_SCRIPTS, styles=MODEL_STYLES),
)
SECURE = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
SECTIONS = (
    ("/", "Overview"),
    ("/console/events", "Events"),
    ("/console/send", "Send"),
    ("/console/waiting", "On their way"),
    ("/console/rejects", "Rejects"),
    ("/console/schemas", "Schemas"),
)

LANGUAGES = {"AVRO": "Avro", "PROTOBUF": "Protobuf", "JSON": "JSON Schema"}


class Told(Protocol):
    """An error, or a cause of some."""

    @property
    def detail(self) -> str: ...


def for_people(handle: Handler) -> Handler:
    """The handler of a page: who has to sign in is led there, and an error is a page, too."""

    @wraps(handle)
    async def answer(x: Exchange, d: Deployment) -> None:
        person = x.site.auth.person(x)
        if person is None:
            await go(x, "/console/sign-in")
            return
        x.caller = person
        try:
            x.caller.check_some(ACTIONS)
            await handle(x, d)
        except InlakeError as error:
            if x.status:
                raise
            await show(x, "error.html", status=error.status, error=error, title=error.title())

    return answer


async def show(
    x: Exchange,
    template: str,
    *,
    status: int = 200,
    model: bool = False,
    headers: Sequence[tuple[bytes, bytes]] = (),
    **given: Any,
) -> None:
    """Answer with a page. `model`: it shows one in 3D; `given`: what the template asks for."""
    token = token_of(x.header(b"cookie"))
    about = [*headers, *SECURE, (b"content-security-policy", (MODEL_POLICY if model else PLAIN_POLICY).encode())]
    if not token:
        token = new_token()
        about.append(set_cookie(TOKEN, token, path=x.settings.root_path, secure=is_secure(x), seconds=86_400))
    here = x.scope["path"]
    sections = [
        (x.address(path), name, path == here or (path != "/" and here.startswith(path))) for path, name in SECTIONS
    ]
    page = (
        environment()
        .get_template(template)
        .render(
            url=x.address,
            static=x.address(f"/console/static/{static_digest()}"),
            token=token,
            sections=sections,
            person=x.principal,
            needs_key=x.settings.has_authentication,
            **given,
        )
    )
    await x.reply(status, page.encode(errors="replace"), HTML, about)  # a record may have half a character


async def go(x: Exchange, path: str, *headers: tuple[bytes, bytes]) -> None:
    """Lead to another page (303, so that a form is not sent once more)."""
    location = quote(x.address(path), safe="/?=&%")
    await x.reply_without_body(303, [(b"location", location.encode()), (b"cache-control", b"no-store"), *headers])


def may_hold(x: Exchange) -> int:
    """Bytes of a form."""
    return x.holds(3 * FORM_BYTES)


def may_hold_key(x: Exchange) -> int:
    """Bytes of a form with a key."""
    return x.holds(3 * KEY_BYTES)


async def form(x: Exchange, most: int = FORM_BYTES) -> dict[str, str]:
    """The fields of a form of ours, of at most so many bytes. Raises `Forbidden` for one of another page."""
    if not x.site.auth.is_from_here(x):
        raise Forbidden("The form is of a page of another site. A proxy in front of the gateway must keep Host.")
    body = await x.body(most, BodyTooLarge)
    try:
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=FORM_FIELDS))
    except ValueError:
        raise BadParameter("The form cannot be read.") from None
    if not is_of_our_page(x.header(b"cookie"), fields.pop("csrf", "")):
        raise Forbidden("The form is not of a page that this browser was shown lately: load the page again.")
    return fields


def is_secure(x: Exchange) -> bool:
    """Whether the cookies of an answer may go back by https only."""
    return "https" in (x.scheme, x.seen.scheme)


async def static(x: Exchange, _: Deployment) -> None:
    """The style, the script and what they need; all of it comes with the gateway. A browser keeps what it got under
    the digest of these files for good. Under another digest, as pages of another version have it, it keeps nothing."""
    name = x.path_parameter("file")
    found = _static().get(name)
    if found is None:
        raise RouteNotFound(f"The console has no file {name[:100]!r}.")
    kept = b"max-age=31536000, immutable" if x.path_parameter("digest") == static_digest() else b"no-store"
    kind = TYPES[name.rpartition(".")[2]]
    await x.reply(200, found, kind, [(b"cache-control", kept), (b"x-content-type-options", b"nosniff")])


@cache
def _static() -> dict[str, bytes]:
    folder = files("inlake.web.console").joinpath("static")
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.name.rpartition(".")[2] in TYPES}


@cache
def static_digest() -> str:
    """Stands in the address of each file that pages load."""
    return digest_of(_static())


def digest_of(contents: Mapping[str, bytes]) -> str:
    """A short digest of files by name, one for all: they name each other, so a new one makes all addresses new."""
    digest = hashlib.sha256()
    for name, content in sorted(contents.items()):
        digest.update(b"%s %d " % (name.encode(), len(content)) + content)
    return digest.hexdigest()[:16]


@cache
def environment() -> Environment:
    made = Environment(
        loader=PackageLoader("inlake.web.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["size"] = size
    made.filters["moment"] = moment
    made.filters["pretty"] = pretty
    made.filters["said"] = said
    made.filters["prose"] = prose
    made.filters["breakable"] = breakable
    made.filters["language"] = LANGUAGES.get
    made.filters["segment"] = lambda text: quote(str(text), safe="")
    return made


def size(count: float | None) -> str:
    """Bytes for a person."""
    if count is None:
        return ""
    for unit in ("bytes", "KB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def moment(ms: int) -> str:
    """When, in UTC, to the second; the browser shows its own time."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"  # whoever writes an event says when


def said(told: Told) -> Markup:
    """The words that a client was told, without the place, which stands beside it on a page."""
    return prose(re.sub(r"^/.*?: ", "", told.detail))


def prose(text: str) -> Markup:
    """A sentence, in which what stands between two backquotes is code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        parts[-2:] = ["`".join(parts[-2:])]  # the last one has no other
    template = Markup("<code>{}</code>")
    return Markup().join(template.format(part) if n % 2 else part for n, part in enumerate(parts))


def breakable(name: str) -> Markup:
    """A name that a narrow column breaks behind a dot, a dash, an underscore or a slash, before it does so anywhere."""
    return Markup("<wbr>").join(re.split(r"(?<=[._/-])(?=[^._/-])", name))


def pretty(value: Any) -> str:
    """A decoded record as JSON for a person."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=_text)


def _text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes | bytearray) else str(value)
