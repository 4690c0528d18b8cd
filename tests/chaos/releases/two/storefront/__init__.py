"""An app of a project of which two releases run at once."""
