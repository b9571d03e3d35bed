# Bases first: a file that extends a model comes after the one that makes it.
from . import connection
from . import ai_model
from . import account
from . import credit_entry
from . import quota
from . import generation_request
from . import generation_submission
from . import generation_start
from . import generation_outcome
from . import generation_user_error
from . import generation_reconciliation
from . import generation_portal
from . import start_trouble
from . import generated_image
from . import api
from . import ir_http
from . import res_config_settings
