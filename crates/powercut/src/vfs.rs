//! The shim in C's terms: a VFS whose functions call the stock one's and tell [`Shared`] what was done.
//!
//! All `unsafe` code of the repository is in this file. What it rests on:
//!
//! - SQLite hands the functions of a VFS only what it was given: the `sqlite3_vfs` that was registered, and
//!   `sqlite3_file` memory of `szOsFile` octets that its `xOpen` filled in. [`Vfs`] and [`File`] begin with these
//!   structures, so that the pointers can be read as ours.
//! - A file's memory is first a [`File`], then, at [`REAL_AT`], the stock VFS's own structure, which is at least as
//!   long as the stock VFS asked for. It is written once by `xOpen` and is not moved before `xClose`.
//! - A [`Vfs`] is leaked at registration, so what it owns lives as long as the process.
//! - SQLite calls a file's methods from one thread at a time; what is shared is behind a lock in [`Shared`].

#![allow(unsafe_code)]

use crate::disk::{Call, Fault, FileId, Shared};
use rusqlite::ffi::*;
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Our VFS: SQLite's structure, then ours.
#[repr(C)]
struct Vfs {
    base: sqlite3_vfs,
    stock: *mut sqlite3_vfs,
    shared: Arc<Shared>,
    _name: CString,
}

/// Our file: SQLite's structure, then ours, then the stock VFS's file.
#[repr(C)]
struct File {
    base: sqlite3_file,
    shared: *const Shared,
    /// Its number in the record; a temporary file has none and is not recorded.
    id: Option<FileId>,
}

/// Where the stock VFS's file begins in the memory of ours: aligned for anything that C keeps there.
const REAL_AT: usize = size_of::<File>().next_multiple_of(16);

/// Registers a VFS of this name over the stock one.
pub(crate) fn register(name: &str, shared: Arc<Shared>) {
    let name = CString::new(name).expect("our names hold no zero");
    // SAFETY: a null name asks for the default VFS, which every build for Unix has. Its structure is static, so it
    // may be copied: the copy keeps its data pointer and the functions that are not replaced, none of which looks at
    // the VFS that it is called with.
    let (stock, mut base) = unsafe {
        let stock = sqlite3_vfs_find(std::ptr::null());
        assert!(!stock.is_null(), "there is a default VFS");
        (stock, *stock)
    };
    base.szOsFile += c_int::try_from(REAL_AT).expect("a few dozen octets");
    base.zName = name.as_ptr();
    base.pNext = std::ptr::null_mut();
    base.xOpen = Some(open);
    base.xDelete = Some(delete);
    let vfs = Box::leak(Box::new(Vfs { base, stock, shared, _name: name }));
    // SAFETY: the structure is whole and lives for ever, and so does its name. It is not made the default.
    let code = unsafe { sqlite3_vfs_register(&raw mut vfs.base, 0) };
    assert_eq!(code, SQLITE_OK, "a VFS can be registered");
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    // Version 2 has shared memory, version 3 would add mapped pages, which the store does not use.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// A path as SQLite gives it.
///
/// # Safety
/// `name` is a C string that lives as long as what is returned is used.
unsafe fn path<'a>(name: *const c_char) -> &'a Path {
    // SAFETY: the caller's promise.
    Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()))
}

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite calls this with the VFS that was registered, and with memory of szOsFile octets.
    let (vfs, ours, real) = unsafe { (&*vfs.cast::<Vfs>(), file.cast::<File>(), file.byte_add(REAL_AT)) };
    let shared = &vfs.shared;
    // SAFETY: a name that is not null is a C string; it lives until the file is closed.
    let path = (!name.is_null()).then(|| unsafe { path(name) });
    let created = path.is_some_and(|path| flags & SQLITE_OPEN_CREATE != 0 && !path.exists());
    // SAFETY: the memory is ours to write. With null methods SQLite takes the file for one that was not opened.
    unsafe {
        (*ours).base.pMethods = std::ptr::null();
        (*real).pMethods = std::ptr::null();
    }
    if created && let Some(fault) = shared.fails(Call::Create) {
        return match fault {
            Fault::Full => SQLITE_FULL,
            Fault::Broken | Fault::Unsynced => SQLITE_CANTOPEN,
        };
    }
    // SAFETY: the stock VFS gets its own VFS, memory of the size that it asked for, and the rest as SQLite gave it.
    let code = unsafe {
        ((*vfs.stock).xOpen.expect("every VFS opens files"))(vfs.stock, name, real, flags, out_flags)
    };
    if code != SQLITE_OK {
        // SAFETY: as above; what a failed open left must be closed if it has methods.
        unsafe {
            if !(*real).pMethods.is_null() {
                let close = (*(*real).pMethods).xClose.expect("every file can be closed");
                close(real);
            }
        }
        return code;
    }
    let new_log = flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL) != 0;
    let id = path.map(|path| shared.opened(path, created, new_log));
    // SAFETY: the memory is ours, `File` needs no more alignment than SQLite gives, and nothing is dropped by it.
    unsafe {
        ours.write(File {
            base: sqlite3_file { pMethods: &raw const METHODS },
            shared: Arc::as_ptr(shared),
            id,
        });
    }
    SQLITE_OK
}

unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, name: *const c_char, sync_directory: c_int) -> c_int {
    // SAFETY: SQLite calls this with the VFS that was registered and with a C string.
    let (vfs, path) = unsafe { (&*vfs.cast::<Vfs>(), path(name)) };
    if vfs.shared.fails(Call::Delete).is_some() {
        return SQLITE_IOERR_DELETE;
    }
    // SAFETY: the stock VFS gets its own VFS and what SQLite gave.
    let code =
        unsafe { ((*vfs.stock).xDelete.expect("every VFS deletes files"))(vfs.stock, name, sync_directory) };
    if code == SQLITE_OK {
        vfs.shared.deleted(path, sync_directory & 1 != 0);
    }
    code
}

/// What our part of a file holds.
///
/// # Safety
/// `file` was filled in by [`open`] and is not closed.
unsafe fn ours<'a>(file: *mut sqlite3_file) -> (&'a Shared, Option<FileId>) {
    // SAFETY: `open` wrote a `File` there; what `shared` points to is owned by a `Vfs` that was leaked.
    unsafe {
        let file = &*file.cast::<File>();
        (&*file.shared, file.id)
    }
}

/// Calls the stock VFS's method of the same name.
macro_rules! stock {
    ($method:ident, $file:ident $(, $argument:expr)*) => {{
        // SAFETY: `open` filled in both files; the stock one gets its own structure, and what SQLite gave.
        unsafe {
            let real = $file.byte_add(REAL_AT);
            let method = (*(*real).pMethods).$method.expect("the stock VFS has every method of version 2");
            method(real $(, $argument)*)
        }
    }};
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    stock!(xClose, file)
}

unsafe extern "C" fn read(
    file: *mut sqlite3_file,
    into: *mut c_void,
    length: c_int,
    at: sqlite3_int64,
) -> c_int {
    stock!(xRead, file, into, length, at)
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    from: *const c_void,
    length: c_int,
    at: sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite calls this with a file of ours that is open.
    let (shared, id) = unsafe { ours(file) };
    let Some(id) = id else { return stock!(xWrite, file, from, length, at) };
    // SAFETY: SQLite gives `length` octets to write, and lets them be until this returns.
    let octets = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), length as usize) };
    let grows = at as u64 + octets.len() as u64 > shared.size(id);
    let Some(fault) = shared.fails(Call::Write { grows }) else {
        let code = stock!(xWrite, file, from, length, at);
        if code == SQLITE_OK {
            shared.wrote(id, at as u64, octets);
        }
        return code;
    };
    let half = shared.half(octets.len()).min(octets.len());
    if half > 0 && stock!(xWrite, file, from, half as c_int, at) == SQLITE_OK {
        shared.wrote(id, at as u64, &octets[..half]);
    }
    match fault {
        Fault::Full => SQLITE_FULL,
        Fault::Broken | Fault::Unsynced => SQLITE_IOERR_WRITE,
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    // SAFETY: SQLite calls this with a file of ours that is open.
    let (shared, id) = unsafe { ours(file) };
    if id.is_some() && shared.fails(Call::Truncate).is_some() {
        return SQLITE_IOERR_TRUNCATE;
    }
    let code = stock!(xTruncate, file, size);
    if let (SQLITE_OK, Some(id)) = (code, id) {
        shared.truncated(id, size as u64);
    }
    code
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: SQLite calls this with a file of ours that is open.
    let (shared, id) = unsafe { ours(file) };
    let Some(id) = id else { return stock!(xSync, file, flags) };
    let broken = shared.fails(Call::Sync).is_some();
    let done = shared.syncing(id, || {
        // The files of a test need not survive a power cut: the record says what would have. It would only be slow.
        if broken { Err(SQLITE_IOERR_FSYNC) } else { Ok(()) }
    });
    done.err().unwrap_or(SQLITE_OK)
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, size: *mut sqlite3_int64) -> c_int {
    stock!(xFileSize, file, size)
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    stock!(xLock, file, level)
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    stock!(xUnlock, file, level)
}

unsafe extern "C" fn check_reserved_lock(file: *mut sqlite3_file, result: *mut c_int) -> c_int {
    stock!(xCheckReservedLock, file, result)
}

unsafe extern "C" fn file_control(file: *mut sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    if operation == SQLITE_FCNTL_PRAGMA {
        // SAFETY: SQLite calls this with a file of ours that is open.
        let (shared, _) = unsafe { ours(file) };
        // SAFETY: for this operation the argument is an array of at least three strings (answer, name, value), of
        // which the name is never null. The value, if there is one, belongs to the statement that is being prepared,
        // which reads it when we return: writing one octet and the end over a longer text stays inside of it.
        unsafe {
            let words = argument.cast::<*mut c_char>();
            let (name, value) = (CStr::from_ptr(*words.add(1)), *words.add(2));
            let is_meant = name.to_bytes().eq_ignore_ascii_case(b"synchronous") && !value.is_null();
            if is_meant && shared.weak.load(Ordering::Relaxed) && !CStr::from_ptr(value).is_empty() {
                const NORMAL: c_char = b'1' as c_char;
                value.write(NORMAL);
                value.add(1).write(0);
            }
        }
    }
    stock!(xFileControl, file, operation, argument)
}

unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    stock!(xSectorSize, file)
}

unsafe extern "C" fn device_characteristics(file: *mut sqlite3_file) -> c_int {
    stock!(xDeviceCharacteristics, file)
}

unsafe extern "C" fn shm_map(
    file: *mut sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    stock!(xShmMap, file, region, size, extend, out)
}

unsafe extern "C" fn shm_lock(file: *mut sqlite3_file, offset: c_int, n: c_int, flags: c_int) -> c_int {
    stock!(xShmLock, file, offset, n, flags)
}

unsafe extern "C" fn shm_barrier(file: *mut sqlite3_file) {
    stock!(xShmBarrier, file);
}

unsafe extern "C" fn shm_unmap(file: *mut sqlite3_file, delete: c_int) -> c_int {
    stock!(xShmUnmap, file, delete)
}
