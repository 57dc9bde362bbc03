"""Label maps as DICOM objects; needs the extra ``dicom``, and is imported only where one is written."""
