"""What the stages share: parameters, inputs, how a stage starts and ends, pictures."""
