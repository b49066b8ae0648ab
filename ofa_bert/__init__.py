"""ofa_bert: train one supernet, ship every width."""
