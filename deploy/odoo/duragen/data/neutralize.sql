-- A copy of a production database must not start, cancel or ask about production's generations, and
-- Duragen may not deliver outcomes to it; nor may it raise or end production's alerts. Odoo itself switches the crons of a neutralized database off.
DELETE FROM ir_config_parameter
 WHERE key IN ('duragen.callback_token', 'duragen.signing_secret', 'duragen.gateway_key',
               'duragen.previous_callback_token', 'duragen.previous_signing_secret',
               'duragen.temporal_api_key', 'duragen.rabbitmq_url', 'duragen.s3_access_key_id',
               'duragen.s3_secret_access_key', 'duragen.alertmanager_url',
               'duragen.alertmanager_token');
UPDATE ir_config_parameter SET value = 'http://neutralized.invalid' WHERE key = 'duragen.gateway_url';
INSERT INTO ir_config_parameter (key, value)
VALUES ('duragen.temporal_address', 'neutralized.invalid:7233')
    ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value;
UPDATE duragen_webhook_endpoint SET enabled = false, disabled_why = 'user' WHERE enabled;
