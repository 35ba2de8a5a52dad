#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "sherd/base/errors.hpp"
#include "sherd/io/storage.hpp"

namespace sherd::io {

void throw_stored(const std::string& path, const char* call, std::int64_t answer) {
  const auto cause = static_cast<int>(-answer);
  throw DataError(path + ": " + call + " failed (" + std::strerror(cause) + ")");
}

Stored::Stored(Storage& storage, std::string path, int file)
    : storage_(&storage), path_(std::move(path)), file_(file) {}

Stored::Stored(Stored&& other) noexcept
    : storage_(other.storage_),
      path_(std::move(other.path_)),
      file_(std::exchange(other.file_, -1)) {}

Stored& Stored::operator=(Stored&& other) noexcept {
  std::swap(storage_, other.storage_);
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  return *this;
}

Stored::~Stored() {
  if (file_ >= 0) (void)storage_->close(file_);
}

void Stored::need(std::int64_t answer, const char* call) const {
  if (answer < 0) throw_stored(path_, call, answer);
}

void Stored::read(Bytes offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const std::int64_t got = storage_->read(file_, offset, into);
    need(got, "read");
    if (got == 0)
      throw DataError(path_ + ": ends at byte " + std::to_string(offset) + ", too early");
    const auto moved = std::min(static_cast<std::size_t>(got), into.size());
    offset += moved;
    into = into.subspan(moved);
  }
}

void Stored::write(Bytes offset, std::span<const std::byte> from) const {
  while (!from.empty()) {
    const std::int64_t put = storage_->write(file_, offset, from);
    need(put == 0 ? -ENOSPC : put, "write");
    const auto moved = std::min(static_cast<std::size_t>(put), from.size());
    offset += moved;
    from = from.subspan(moved);
  }
}

void Stored::reserve(Bytes size) const { need(storage_->reserve(file_, size), "fallocate"); }
void Stored::sync() const { need(storage_->sync(file_), "fsync"); }

void Stored::close() {
  if (file_ >= 0) need(storage_->close(std::exchange(file_, -1)), "close");
}

Bytes Stored::size() const {
  const std::int64_t size = storage_->size(file_);
  need(size, "fstat");
  return static_cast<Bytes>(size);
}

Stored open_stored(Storage& storage, const std::string& path) {
  const int file = storage.open(path);
  if (file == -EINVAL) throw DataError(path + ": is not a regular file");
  if (file < 0) throw_stored(path, "open", file);
  return {storage, path, file};
}

Stored create_stored(Storage& storage, const std::string& path, Cache cache) {
  const int file = storage.create(path, cache);
  if (file < 0) throw_stored(path, "open", file);
  return {storage, path, file};
}

Stored open_stored_folder(Storage& storage, const std::string& path) {
  const int file = storage.open_folder(path);
  if (file < 0) throw_stored(path, "open", file);
  return {storage, path, file};
}

}  // namespace sherd::io
