"""The plugins: one module or package each; a plugin imports ``cnilib``, never another plugin."""
