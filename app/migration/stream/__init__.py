"""The change stream: changes of the source by logical decoding, read with plain SQL, and applied to the target."""
