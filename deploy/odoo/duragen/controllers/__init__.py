from . import callback
from . import image
from . import portal
