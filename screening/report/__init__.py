"""What people read: tables in the terminal, pages, news."""
