from . import callback
from . import generations
from . import image
from . import portal
from . import portal_actions
from . import portal_credits
from . import webhooks
