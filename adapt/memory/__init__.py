"""What other users did, remembered without training, and its fusion with content."""
