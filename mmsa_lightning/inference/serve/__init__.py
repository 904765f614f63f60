"""``mmsa serve``: a trained model behind a page and a JSON API."""
