"""What a job makes of a model version beside its weights: papers to read, and forms for other software."""

from enum import StrEnum


class Form(StrEnum):
    CARD = "card"
    REPORT = "report"  # of what the training measured, or of one later evaluation
    ONNX = "onnx"
    MONAI_BUNDLE = "monai-bundle"


# What every version has made of it without being asked; the others take long, and few want them.
PAPERS = (Form.CARD, Form.REPORT)

MEDIA_TYPES = {
    Form.CARD: "text/html",
    Form.REPORT: "text/html",
    Form.ONNX: "application/octet-stream",
    Form.MONAI_BUNDLE: "application/zip",
}
_ENDINGS = {
    Form.CARD: "-card.html",
    Form.REPORT: "-report.html",
    Form.ONNX: ".onnx",
    Form.MONAI_BUNDLE: "-monai-bundle.zip",
}


def file_name(name: str, version: int, form: Form) -> str:
    """What a download is called; a model's name is safe in a header by its pattern."""
    return f"{name}-{version}{_ENDINGS[form]}"
