"""An index and its memory over HTTP, with a page to try them on."""
