"""What do people touch?"""
