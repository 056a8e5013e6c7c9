"""What is made of a finished batch: its page, contact sheets and scores."""
