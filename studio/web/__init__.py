"""What all pages of the studio stand on: visitors, turns, links, films, uploads, looks."""
