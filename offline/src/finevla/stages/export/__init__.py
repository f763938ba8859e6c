"""Make a verified bundle of a training directory: `finevla export TRAIN_DIR --out BUNDLE`."""
