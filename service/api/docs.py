"""The operations on one page, drawn from the OpenAPI document without any script."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #16181c; background: #fbfbf9 }
h1 { font-size: 27px } h2 { font-size: 17.5px; margin-top: 2rem }
section { border-top: 1px solid #d9d9d4; padding: .5rem 0 }
code { font-family: ui-monospace, monospace } b { display: inline-block; min-width: 4.5rem }
p { margin: .25rem 0; white-space: pre-line } small { color: #5b636d }
"""
# No script, no image, no request: only the style above.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """The API on one page."""
    return HTMLResponse(
        _page(request.app.openapi()),
        headers={"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"},
    )


def _page(document: Mapping[str, Any]) -> str:
    title = escape(document["info"]["title"])
    body = "".join(_sections(document))
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>"
        f"<h1>{title}</h1><p>{escape(document['info'].get('description', ''))}</p>"
        f'<p>The whole contract: <a href="openapi.json">openapi.json</a>.</p>{body}</html>'
    )


def _sections(document: Mapping[str, Any]) -> Iterator[str]:
    tag = None
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            first = operation.get("tags", ["other"])[0]
            if first != tag:
                tag = first
                yield f"<h2>{escape(tag)}</h2>"
            yield _section(path, method, operation)


def _section(path: str, method: str, operation: Mapping[str, Any]) -> str:
    parameters = ", ".join(
        f"{parameter['name']} ({parameter['in']})" for parameter in operation.get("parameters", ())
    )
    statuses = ", ".join(operation["responses"])
    return (
        f"<section><b>{method.upper()}</b><code>{escape(path)}</code>"
        f"<p>{escape(operation.get('description', ''))}</p>"
        f"<p><small>{escape(parameters)}</small></p>"
        f"<p><small>answers {escape(statuses)}</small></p></section>"
    )
