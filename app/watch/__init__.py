"""What `botdata watch` shows, and the page that shows it: reads the target, and moves the stage where it may."""
