from . import copy_settings, grant_credits
