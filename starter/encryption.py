"""`peers/encryption.py` where `client.py` looks for it; addon and wheel carry that file itself."""

from peers.encryption import DefaultRefusingEncrypted, EncryptionError, keyring, with_keys

__all__ = ["DefaultRefusingEncrypted", "EncryptionError", "keyring", "with_keys"]
