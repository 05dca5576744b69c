from .files import Photo, Photos, check_writable, open_photos, open_writer, read_photo, write_photo

__all__ = ["Photo", "Photos", "check_writable", "open_photos", "open_writer", "read_photo", "write_photo"]
