from . import grant_credits
