"""Whether a map finds what the score hangs on."""
