web: python manage.py prodserver web
worker: python manage.py prodserver worker
beat: python manage.py prodserver beat
legacy-beat: python manage.py prodserver legacy-beat
release: python manage.py migrate --noinput
