#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "sherd/base/errors.hpp"
#include "sherd/io/record_file.hpp"
#include "sherd/io/storage.hpp"

namespace sherd::io {

namespace {

constexpr int most_in_vain = 16;  // calls that move less than a block

}  // namespace

void throw_stored(const std::string& path, const char* call, std::int64_t answer) {
  const auto cause = static_cast<int>(-answer);
  throw DataError(path + ": " + call + " failed (" + std::strerror(cause) + ")");
}

Stored::Stored(Storage& storage, std::string path, int file, Cache cache)
    : storage_(&storage), path_(std::move(path)), file_(file), cache_(cache) {}

Stored::Stored(Stored&& other) noexcept
    : storage_(other.storage_),
      path_(std::move(other.path_)),
      file_(std::exchange(other.file_, -1)),
      cache_(other.cache_) {}

Stored& Stored::operator=(Stored&& other) noexcept {
  std::swap(storage_, other.storage_);
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  std::swap(cache_, other.cache_);
  return *this;
}

Stored::~Stored() {
  if (file_ >= 0) (void)storage_->close(file_);
}

void Stored::need(std::int64_t answer, const char* call) const {
  if (answer < 0) throw_stored(path_, call, answer);
}

// What is left must begin with a block where the cache is passed: part of one is moved again.
std::size_t Stored::kept(std::int64_t answer, std::size_t asked) const {
  const auto moved = std::min(static_cast<std::size_t>(answer), asked);
  return cache_ == Cache::through || moved == asked ? moved : moved - moved % direct_block;
}

void Stored::read(Bytes offset, std::span<std::byte> into) const {
  for (int in_vain = 0; !into.empty();) {
    const std::int64_t got = storage_->read(file_, offset, into);
    need(got, "read");
    const std::size_t moved = kept(got, into.size());
    in_vain = moved > 0 ? 0 : in_vain + 1;
    if (got == 0 || in_vain == most_in_vain)
      throw DataError(path_ + ": ends at byte " + std::to_string(offset) + ", too early");
    offset += moved;
    into = into.subspan(moved);
  }
}

void Stored::write(Bytes offset, std::span<const std::byte> from) const {
  for (int in_vain = 0; !from.empty();) {
    const std::int64_t put = storage_->write(file_, offset, from);
    need(put, "write");
    const std::size_t moved = kept(put, from.size());
    in_vain = moved > 0 ? 0 : in_vain + 1;
    need(put == 0 || in_vain == most_in_vain ? -ENOSPC : 0, "write");
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

Stored open_stored(Storage& storage, const std::string& path, Cache cache) {
  const int file = storage.open(path, cache);
  if (file == -EINVAL) throw DataError(path + ": is not a regular file");
  if (file < 0) throw_stored(path, "open", file);
  return {storage, path, file, cache};
}

Stored create_stored(Storage& storage, const std::string& path, Cache cache) {
  const int file = storage.create(path, cache);
  if (file < 0) throw_stored(path, "open", file);
  return {storage, path, file, cache};
}

Stored open_stored_folder(Storage& storage, const std::string& path) {
  const int file = storage.open_folder(path);
  if (file < 0) throw_stored(path, "open", file);
  return {storage, path, file};
}

}  // namespace sherd::io
