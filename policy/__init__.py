"""What would the driver do?"""
