#include "data/unfinished_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <span>

#include "data/growing_file.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/io/write.hpp"

namespace sherd::data {
namespace {

namespace fs = std::filesystem;

constexpr const char* note_name = "/.progress.json";

std::string without_slashes(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

std::string hidden_beside(const std::string& target) {
  const fs::path path(target);
  return (path.parent_path() / ("." + path.filename().string() + ".unfinished")).string();
}

void write_text(const std::string& path, const std::string& text) {
  io::write_atomically(path, std::as_bytes(std::span<const char>(text.data(), text.size())));
}

bool is_place(const TextPlace& place, const std::vector<SourceFile>& sources) {
  if (place.source >= sources.size()) return place.source == sources.size() && place.byte == 0;
  return place.byte < sources[place.source].bytes || place.byte == 0;
}

/// A shard that is not as noted is made again, and so are all behind it.
void drop_bad_shards(const std::string& folder, Manifest& manifest) {
  std::size_t good = 0;
  try {
    for (; good < manifest.shards.size(); ++good) {
      if (!is_place(manifest.shards[good].end, manifest.sources)) break;
      verify_shard(folder, manifest.shards[good]);
    }
  } catch (const DataError&) {
  }
  for (; manifest.shards.size() > good; manifest.shards.pop_back()) {
    manifest.tokens -= manifest.shards.back().tokens;
    manifest.documents -= manifest.shards.back().documents;
  }
}

}  // namespace

UnfinishedFolder::UnfinishedFolder(const std::string& target)
    : target_(without_slashes(target)), path_(hidden_beside(target_)) {
  std::error_code problem;
  if (fs::exists(target_, problem) && !fs::is_empty(target_, problem))
    throw DataError(target_ + ": exists and holds no tokens of this request; choose another --out");
  const fs::path parent = fs::path(path_).parent_path();
  if (!parent.empty()) fs::create_directories(parent, problem);
  fs::create_directory(path_, problem);
  if (problem) throw DataError(path_ + ": cannot be made (" + problem.message() + ")");
  lock_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ < 0) throw DataError(path_ + ": cannot be opened (" + std::strerror(errno) + ")");
  if (::flock(lock_, LOCK_EX | LOCK_NB) == 0 && fs::exists(path_)) return;
  ::close(lock_);
  throw DataError(path_ + ": another run is at work on it");
}

UnfinishedFolder::~UnfinishedFolder() { ::close(lock_); }

std::optional<Manifest> UnfinishedFolder::left_behind(const std::string& request) const {
  if (!fs::exists(path_ + note_name)) return std::nullopt;
  try {
    Manifest found = read_manifest(path_ + note_name);
    if (found.request != request) return std::nullopt;
    drop_bad_shards(path_, found);
    return found;
  } catch (const DataError&) {  // a note that cannot be read is no note
    return std::nullopt;
  }
}

void UnfinishedFolder::begin(const std::vector<Shard>& kept) const {
  std::set<fs::path> wanted;
  for (const Shard& shard : kept)
    for (const ShardFile& file : shard.files) wanted.insert(*fs::path(file.name).begin());
  for (const fs::directory_entry& entry : fs::directory_iterator(path_)) {
    const fs::path name = entry.path().filename();
    if (wanted.contains(name) || (!kept.empty() && "/" + name.string() == note_name)) continue;
    fs::remove_all(entry.path());
  }
}

void UnfinishedFolder::note(const std::string& manifest) const {
  write_text(path_ + note_name, manifest);
}

void UnfinishedFolder::publish(const std::string& manifest) {
  write_text(path_ + "/" + manifest_name, manifest);
  if (::rename(path_.c_str(), target_.c_str()) != 0)
    throw DataError(target_ + ": cannot be made (rename: " + std::strerror(errno) + ")");
  const std::string parent = fs::path(target_).parent_path().string();
  sync_folder(parent.empty() ? "." : parent);
  ::unlink((target_ + note_name).c_str());
}

}  // namespace sherd::data
