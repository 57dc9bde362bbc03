"""MONAI array and dictionary transforms over the other rooms."""
