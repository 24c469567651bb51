"""Images inside zip, tar and 7z files."""
