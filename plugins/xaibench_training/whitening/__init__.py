"""Feature whitening: channels decorrelated by a layer, and turned so that patches of the face have channels."""
