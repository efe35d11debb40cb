"""What tests of whole plugins share: a throw-away host, its containers, a runtime, packets."""
