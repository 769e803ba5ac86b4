"""What is shipped: built, checked, installed in an empty environment, and used there as the pages say."""
