"""The `timeball` command's way in: it checks that Timeball's own packages are found before it imports them."""
