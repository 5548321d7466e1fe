"""Membership of users: was this person among those the model was trained on?"""
