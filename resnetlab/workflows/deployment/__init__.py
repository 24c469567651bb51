"""The verbs that use a trained model: predict, export, serve, push."""
