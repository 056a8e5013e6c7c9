"""What goes on while somebody watches: generators of views, without a widget in sight."""
