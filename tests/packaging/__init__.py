"""What is built for a release; deploy/ci/try-wheel and deploy/ci/test-sdist build and use the real files."""
