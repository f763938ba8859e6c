"""Action chunks or leader joints to the two Piper arms of a CobotMagic: safety, state, CAN."""
