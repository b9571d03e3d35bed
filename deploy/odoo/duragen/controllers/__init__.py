from . import callback
from . import generations
from . import image
from . import portal
from . import webhooks
