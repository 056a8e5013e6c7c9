"""The commands of `detour`, grouped by what they are about; `studio.cli` puts them together."""
