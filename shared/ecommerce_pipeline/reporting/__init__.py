"""What people read: numbers, the dashboard's page, the text of notifications."""
