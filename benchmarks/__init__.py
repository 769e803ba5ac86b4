"""What Flask-ETag costs: ``make bench`` measures it, ``make costs`` counts it."""
