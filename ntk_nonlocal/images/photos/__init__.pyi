from .files import Photo, check_writable, read_photo, write_photo

__all__ = ["Photo", "check_writable", "read_photo", "write_photo"]
