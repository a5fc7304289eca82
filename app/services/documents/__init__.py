"""Reading uploads: any supported file in, one `Document` out, or a sentence that says what to do."""

from app.services.documents.read import read_document, read_documents

__all__ = ["read_document", "read_documents"]
