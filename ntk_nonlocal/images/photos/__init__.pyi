from .reading import Photo, Photos, open_photos, read_photo
from .writing import check_writable, open_writer, write_photo

__all__ = ["Photo", "Photos", "check_writable", "open_photos", "open_writer", "read_photo", "write_photo"]
