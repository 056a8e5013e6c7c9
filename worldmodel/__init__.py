"""What will the cameras see?"""
